"""The hub under faults: experiments on real services, each with a ledger of what came in and out."""
