"""The *Neurons*, *Neuron*, *Trials* and *Repeats* panels."""
