"""Renew the stored normalisations, after a change of the simulated world.

python -m omnimouse_model.simulate
"""

from omnimouse_model.simulate.simulation import store_normalisations

if __name__ == "__main__":
    store_normalisations()
