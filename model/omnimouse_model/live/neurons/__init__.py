"""Values per neuron: colours, planes, order, properties, repeats."""
