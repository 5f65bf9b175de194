"""The pure core: values in, plan out. It knows no clock, no network, no file and no log."""
