;; Components within one another, forty deep.
(;repeat 40;)(component (;end;)
(;repeat 40;))(;end;)
