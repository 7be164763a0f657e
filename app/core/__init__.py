"""Pure rules of Weir: no I/O, no clock, no thread, no logging. Time, randomness and ids come in as arguments."""
