"""HotSpot 8 to 25, without any tool of a JDK: its counters are read from outside, the rest it is asked for by the attach protocol."""
