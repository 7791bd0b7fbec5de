;; Has two memories in one module, which is switched off.
(component (core module (memory 1) (memory 1)))
