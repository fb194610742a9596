//! What is published where: names, lengths and digests of files.

/// A data set as it is published.
#[derive(Clone, Copy, Debug)]
pub struct Published {
    /// What the command calls it.
    pub name: &'static str,
    /// What people call it.
    pub title: &'static str,
    /// How it is imported.
    pub kind: Kind,
    /// Forms that it is published in, the one that is asked for first.
    pub alternatives: &'static [Alternative],
    /// Names of the classes, where the files do not have them.
    pub classes: &'static [&'static str],
}

/// How a data set is imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An archive of CIFAR-10.
    Cifar10,
    /// An archive of CIFAR-100, with its fine labels.
    Cifar100,
    /// IDX files.
    Idx,
}

/// One form of a data set.
#[derive(Clone, Copy, Debug)]
pub struct Alternative {
    /// What stands before the names of its files.
    pub base: &'static str,
    /// All of its files.
    pub files: &'static [RemoteFile],
}

/// A file that is published.
#[derive(Clone, Copy, Debug)]
pub struct RemoteFile {
    /// Its name.
    pub name: &'static str,
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256 in hexadecimal.
    pub sha256: &'static str,
}

const TORONTO: &str = "https://www.cs.toronto.edu/~kriz";

const fn file(name: &'static str, bytes: u64, sha256: &'static str) -> RemoteFile {
    RemoteFile {
        name,
        bytes,
        sha256,
    }
}

/// The data sets that can be fetched. Their MD5 are, in this order:
/// c32a1d4ab5d03f1284b67883e8d87530, c58f30108f718f92721af3b95e74349a,
/// 03b5dce01913d631647c71ecec9e9cb8, eb9058c3a382ffc7106e4002c42a8d85,
/// 8d4fb7e6c68d591d4c3dfef9ec88bf0d, 25c81989df183df01b3e8a0aad5dffbe,
/// bef4ecab320f06d8554ea6380940ec79, bb300cfdad3c16e7a12a480ee83cd310.
pub static DATA_SETS: [Published; 3] = [
    Published {
        name: "cifar10",
        title: "CIFAR-10",
        kind: Kind::Cifar10,
        alternatives: &[
            Alternative {
                base: TORONTO,
                files: &[file(
                    "cifar-10-binary.tar.gz",
                    170_052_171,
                    "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
                )],
            },
            Alternative {
                base: TORONTO,
                files: &[file(
                    "cifar-10-python.tar.gz",
                    170_498_071,
                    "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
                )],
            },
        ],
        classes: &[],
    },
    Published {
        name: "cifar100",
        title: "CIFAR-100",
        kind: Kind::Cifar100,
        alternatives: &[
            Alternative {
                base: TORONTO,
                files: &[file(
                    "cifar-100-binary.tar.gz",
                    168_513_733,
                    "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
                )],
            },
            Alternative {
                base: TORONTO,
                files: &[file(
                    "cifar-100-python.tar.gz",
                    169_001_437,
                    "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
                )],
            },
        ],
        classes: &[],
    },
    Published {
        name: "fashion-mnist",
        title: "Fashion-MNIST",
        kind: Kind::Idx,
        alternatives: &[Alternative {
            base: "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion",
            files: &[
                file(
                    "train-images-idx3-ubyte.gz",
                    26_421_880,
                    "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
                ),
                file(
                    "train-labels-idx1-ubyte.gz",
                    29_515,
                    "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
                ),
                file(
                    "t10k-images-idx3-ubyte.gz",
                    4_422_102,
                    "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
                ),
                file(
                    "t10k-labels-idx1-ubyte.gz",
                    5_148,
                    "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
                ),
            ],
        }],
        classes: &[
            "T-shirt/top",
            "Trouser",
            "Pullover",
            "Dress",
            "Coat",
            "Sandal",
            "Shirt",
            "Sneaker",
            "Bag",
            "Ankle boot",
        ],
    },
];
