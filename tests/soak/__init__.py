"""The product under mixed load for minutes, watched from inside for memory and for what is left over."""
