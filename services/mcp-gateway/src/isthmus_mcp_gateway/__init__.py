"""The MCP endpoint: validates tokens and turns tool calls into messages to workers."""
