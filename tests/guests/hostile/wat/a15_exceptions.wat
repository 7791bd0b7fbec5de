;; Has an exception, which is switched off.
(component (core module (tag (param i32))))
