;; Has a memory whose pages have one byte, which is switched off.
(component (core module (memory 1 (pagesize 1))))
