;; One function of seven million bytes.
(component
  (core module
    (func (;repeat 2400000;) i32.const 0 drop (;end;))
  )
)
