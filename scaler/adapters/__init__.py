"""One module or small package for each outside system; no client library's error leaves its own."""
