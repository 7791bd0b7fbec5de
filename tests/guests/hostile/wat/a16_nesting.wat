;; Loops within one another, sixty thousand deep.
(component
  (core module
    (func (local i64 i64)
      (;repeat 60000;) loop local.get 0 local.set 1 (;end;)
      (;repeat 60000;) end (;end;)
    )
  )
)
