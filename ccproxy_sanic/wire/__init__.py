"""msgspec structs and codecs of both APIs.  Rule: no behaviour; what comes in is named, what goes out is bytes."""
