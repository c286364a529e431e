"""The *Neurons*, *Neuron* and *Repeats* panels."""
