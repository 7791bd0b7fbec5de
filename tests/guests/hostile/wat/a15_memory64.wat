;; Has a memory with addresses of 64 bits, which is switched off.
(component (core module (memory i64 1)))
