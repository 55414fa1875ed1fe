"""The example: is a loan granted? Synthetic applications of the shape that the well-known loan prediction data has."""
