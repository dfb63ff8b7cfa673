//! Backups: catalogue, formats, encryption and the streaming pipeline.
