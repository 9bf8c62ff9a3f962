"""The simulator's compiler of the Metal Shading Language: checks a .metal source and makes a shared object or PTX."""
