"""Reader of folders in the ALF layout of the International Brain Laboratory."""
