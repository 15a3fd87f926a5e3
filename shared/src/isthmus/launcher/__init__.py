"""`isthmus up`: the whole stack in one terminal, and the commands that talk to it."""
