;; Has a continuation, which is switched off.
(component (core module (type $run (func)) (type (cont $run))))
