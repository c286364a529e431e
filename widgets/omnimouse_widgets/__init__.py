"""What a user touches; every part takes a Controller."""
