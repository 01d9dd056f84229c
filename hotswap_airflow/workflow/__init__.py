"""The language: a file becomes a document, a spec, a plan. Pure."""
