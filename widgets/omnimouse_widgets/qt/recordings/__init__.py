"""The *Recordings* panel: the sessions of a folder."""
