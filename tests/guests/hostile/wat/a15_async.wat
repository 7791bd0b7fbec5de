;; Has a future, which is switched off.
(component (type (future u8)))
