"""The REST door, `/api/v1`: thin routes over `service`, bearer tokens, errors as RFC 9457 problem documents."""
