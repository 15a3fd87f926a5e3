"""File stores as MCP tools on the Isthmus bus."""
