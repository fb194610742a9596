// The views of a batch's records, from the bytes of the data set: whitened, resized or padded,
// cropped and flipped. As src/data/view.rs, in integers up to the last product.
#include "epoch.cuh"
#include "rng.cuh"

#define SIDE 32           // height and width of an image and of a view
#define WIDE 40           // of what is cropped
#define PAD 4             // zeros that pad-crop adds on each side; the offset of the central crop
#define IMAGE_BYTES 3072  // [3][32][32]

#define UPSAMPLE_CROP 0
#define PAD_CROP 1
#define NO_AUGMENT 2

struct LoadBatchArgs {
    In<uint8_t> records;     // of each record, label and image
    In<uint32_t> order;      // records of the epoch
    In<Control> control;
    Out<int> counters;
    Out<Pixel> images;       // [n][1][32][32]
    Out<int> labels;         // [n]
    uint64_t seed;
    int batch;
    int augment;  // which views
};

// Where place `i` of 40 lies among 32, with half-pixel centres: (8 i - 1) / 10, in tenths.
DEVICE int tenths(int i) { return max(0, 8 * i - 1); }

// One value of the view, in integers: what its bytes' weights add up to is `weight`.
DEVICE int view_at(const Shared<uint8_t>& plane, int augment, int y, int x, bool& inside) {
    if (augment == PAD_CROP) {
        y -= PAD, x -= PAD;
        inside = y >= 0 && y < SIDE && x >= 0 && x < SIDE;
        return inside ? plane[y * SIDE + x] : 0;
    }
    inside = true;
    const int top = tenths(y) / 10, left = tenths(x) / 10;
    const int bottom = min(top + 1, SIDE - 1), right = min(left + 1, SIDE - 1);
    const int down = tenths(y) % 10, along = tenths(x) % 10;
    const int upper = (10 - along) * plane[top * SIDE + left] + along * plane[top * SIDE + right];
    const int lower =
        (10 - along) * plane[bottom * SIDE + left] + along * plane[bottom * SIDE + right];
    return (10 - down) * upper + down * lower;
}

// grid:  batch
// block: 256; each thread four pixels of the three channels
// shared: 3072 + 4 * 2 * 256; an image of bytes, and two sums a thread
// needs: nothing
// bytes: 3,073 read and 16,384 written an image
KERNEL(load_batch, LoadBatchArgs, 256, 1) {
    const int image = (int)blockIdx.x, thread = thread_idx();
    const Control control = args.control[0];
    const int first = args.counters.read(BATCH_IDX) * args.batch;
    const int n_images = max(0, min(args.batch, control.n_records - first));
    if (image == 0 && thread == 0) args.counters.write(N_IMAGES, n_images);
    const int64_t to = (int64_t)image * SIDE * SIDE;
    if (image >= n_images) {
        for (int i = thread; i < SIDE * SIDE; i += 256) args.images.write(to + i, Pixel{});
        return;
    }
    const uint32_t record = args.order[first + image];
    const int64_t from = (int64_t)record * (1 + IMAGE_BYTES);
    if (thread == 0) args.labels.write(image, args.records[from]);

    auto bytes = shared<uint8_t>(0, IMAGE_BYTES);
    auto sums = shared<int>(IMAGE_BYTES, 2 * 256);
    int sum = 0, squares = 0;
    for (int i = thread; i < IMAGE_BYTES; i += 256) {
        const int byte = args.records[from + 1 + i];
        bytes[i] = (uint8_t)byte;
        sum += byte;
        squares += byte * byte;
    }
    sums[thread] = sum;
    sums[256 + thread] = squares;
    sync_block();
    sum = squares = 0;
    for (int i = 0; i < 256; i++) {
        sum += sums[i];
        squares += sums[256 + i];
    }

    int dy = PAD, dx = PAD;
    bool flip = false;
    if (args.augment != NO_AUGMENT && control.epoch >= 0) {
        const uint64_t address = (uint64_t)(uint32_t)control.epoch << 32 | record;
        Rng rng = rng_at(args.seed, PURPOSE_AUGMENT, address);
        dy = (int)below(rng, WIDE - SIDE + 1);
        dx = (int)below(rng, WIDE - SIDE + 1);
        flip = below(rng, 2) == 1;
    }
    // x = (byte / 255 - mean) / max(deviation, 1 / sqrt(3072)); 3072 byte - sum stands for
    // byte - mean, and a view's value for a byte times `weight`.
    const int weight = args.augment == PAD_CROP ? 1 : 100;
    const double n = IMAGE_BYTES, unit = 255.0 * n;
    const double spread = n * (double)squares - (double)sum * (double)sum;
    const double deviation = sqrt(spread) / unit, floor = 1.0 / sqrt(n);
    const float scale = (float)(1.0 / (unit * (deviation > floor ? deviation : floor)) / weight);
    for (int i = thread; i < SIDE * SIDE; i += 256) {
        const int y = dy + i / SIDE, x = dx + (flip ? SIDE - 1 - i % SIDE : i % SIDE);
        float out[8] = {};
        for (int c = 0; c < 3; c++) {
            bool inside;
            auto plane = shared<uint8_t>(c * SIDE * SIDE, SIDE * SIDE);
            const int value = view_at(plane, args.augment, y, x, inside);
            if (inside) out[c] = (float)(value * IMAGE_BYTES - weight * sum) * scale;
        }
        args.images.write(to + i, to_pixel(out));
    }
}
