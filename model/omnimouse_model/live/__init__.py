"""The live instrument without a screen: state, engine, controller, results."""
