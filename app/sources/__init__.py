"""Where events come in. A source polls, hands batches to the pipeline, and acknowledges what was done."""
