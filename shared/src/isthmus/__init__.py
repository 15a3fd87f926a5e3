"""What crosses the Isthmus bus: names, messages, grants, policy, and the kit that workers are written with."""
