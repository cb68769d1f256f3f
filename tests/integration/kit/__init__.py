"""What the tests and the demonstration run on: processes, a raw client, views of the result.

Standard library alone, so that the demonstration needs nothing installed.
"""
