"""HotSpot 8 to 28, without any tool of a JDK: its counters are read from outside, the rest it is asked for by the attach protocol."""
