"""What each PTX instruction does, by the ISA's chapters."""
