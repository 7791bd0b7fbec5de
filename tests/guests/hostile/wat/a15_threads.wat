;; Has a memory that threads could share, which is switched off.
(component (core module (memory 1 1 shared)))
