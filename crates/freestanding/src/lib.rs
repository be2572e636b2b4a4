//! What a program without an operating system must bring along.
