;; Has an object that would need collecting, which is switched off.
(component (core module (type (struct (field i32)))))
