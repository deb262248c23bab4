"""Times say their zone."""

DATETIME_FORMAT = "N j, Y, P T"
