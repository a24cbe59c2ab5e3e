"""Answers of paid calls: Parquet segments in the catalog are the truth, an SQLite file per host is their index.

    <catalog>/_cache/<service>/<definition>/<name>.parquet     immutable, one writer each, for anyone to query

The index also is the journal of answers that are in no segment yet. What an answer means, and how long it serves, is
not known here.
"""
