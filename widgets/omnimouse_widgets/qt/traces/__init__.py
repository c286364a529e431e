"""The *Traces* and *Behaviour* panels."""
