//! Reads records and draws the report; it measures nothing.
