"""The *Neurons* and *Neuron* panels."""
