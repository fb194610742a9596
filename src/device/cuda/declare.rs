//! Kernels' arguments as Rust types, field by field as in `kernels/`, which a test compares.

use std::marker::PhantomData;

use bytemuck::{Pod, Zeroable};

/// 8 channels at one place of a plane.
#[derive(Clone, Copy, Debug, PartialEq, Zeroable, Pod)]
#[repr(C, align(16))]
pub struct Pixel(pub [u32; 4]);

/// A bfloat16.
#[derive(Clone, Copy, Debug, PartialEq, Zeroable, Pod)]
#[repr(transparent)]
pub struct Bf16(pub u16);

/// The address of a tensor that no block of the launch writes.
#[derive(Clone, Copy, Debug, PartialEq, Zeroable, Pod)]
#[repr(transparent)]
pub struct In<T: 'static>(pub u64, PhantomData<T>);

/// The address of a tensor that the launch writes.
#[derive(Clone, Copy, Debug, PartialEq, Zeroable, Pod)]
#[repr(transparent)]
pub struct Out<T: 'static>(pub u64, PhantomData<T>);

/// The address of a tensor that the blocks of a launch exchange.
#[derive(Clone, Copy, Debug, PartialEq, Zeroable, Pod)]
#[repr(transparent)]
pub struct Exchanged<T: 'static>(pub u64, PhantomData<T>);

impl<T> Exchanged<T> {
    /// At an address.
    pub fn at(address: u64) -> Exchanged<T> {
        Exchanged(address, PhantomData)
    }
}

impl<T> In<T> {
    /// At an address.
    pub fn at(address: u64) -> In<T> {
        In(address, PhantomData)
    }
}

impl<T> Out<T> {
    /// At an address.
    pub fn at(address: u64) -> Out<T> {
        Out(address, PhantomData)
    }
}

/// The name of a type in `kernels/`.
pub trait Named {
    /// As it is written there.
    fn named() -> String;
}

macro_rules! named {
    ($($rust:ty => $cuda:expr),* $(,)?) => {
        $(impl Named for $rust {
            fn named() -> String {
                $cuda.to_string()
            }
        })*
    };
}

named! {
    i32 => "int", u32 => "uint32_t", i64 => "int64_t", u64 => "uint64_t", f32 => "float",
    f64 => "double", u8 => "uint8_t", Bf16 => "bf16", Pixel => "Pixel",
}

impl<T: Named> Named for In<T> {
    fn named() -> String {
        format!("In<{}>", T::named())
    }
}

impl<T: Named> Named for Out<T> {
    fn named() -> String {
        format!("Out<{}>", T::named())
    }
}

impl<T: Named> Named for Exchanged<T> {
    fn named() -> String {
        format!("Exchanged<{}>", T::named())
    }
}

impl<T: Named, const N: usize> Named for [T; N] {
    fn named() -> String {
        format!("{}[{N}]", T::named())
    }
}

/// A struct of `kernels/`: its name and its fields with their types there, in order.
pub struct Declaration {
    /// Name of the struct.
    pub name: &'static str,
    /// Name and type of each field.
    pub fields: Vec<(&'static str, String)>,
    /// Size in bytes.
    pub bytes: usize,
}

/// Declares structs that `kernels/` declares too, and a function that lists them.
macro_rules! structs {
    ($($(#[$meta:meta])* struct $name:ident { $($field:ident: $type:ty,)* })*) => {
        $(
            $(#[$meta])*
            #[derive(Clone, Copy, Debug, bytemuck::Zeroable, bytemuck::Pod)]
            #[repr(C)]
            pub struct $name {
                $(pub $field: $type,)*
            }

            impl $crate::device::cuda::declare::Named for $name {
                fn named() -> String {
                    stringify!($name).to_string()
                }
            }
        )*

        /// The structs of this file.
        pub fn declarations() -> Vec<$crate::device::cuda::declare::Declaration> {
            use $crate::device::cuda::declare::{Declaration, Named};
            vec![$(Declaration {
                name: stringify!($name),
                fields: vec![$((stringify!($field), <$type as Named>::named()),)*],
                bytes: size_of::<$name>(),
            },)*]
        }
    };
}

pub(super) use structs;
