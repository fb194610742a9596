// The embedding: a row of the weights for each word, and the gradient to the rows. All in f32.
#include "device.cuh"

struct EmbeddingArgs {
    In<float> tokens;  // [n], whole numbers
    In<float> weight;  // [vocabulary][hidden]
    In<float> dout;    // [n][hidden]; read backward
    Out<float> out;    // [n][hidden]
    Out<float> dweight;  // [vocabulary][hidden]
    int64_t n_weights;
    int n;
    int hidden;
};

// out[i] = weight[tokens[i]].
//
// grid:  n
// block: 128; each thread every 128th value of a word
// needs: nothing
// bytes: 8 a value
KERNEL(embedding_fwd, EmbeddingArgs, 128, 1) {
    const int64_t i = blockIdx.x, word = (int64_t)args.tokens[i], hidden = args.hidden;
    for (int k = thread_idx(); k < args.hidden; k += 128)
        args.out.write(i * hidden + k, args.weight[word * hidden + k]);
}

// dweight = 0: words that do not come get no gradient.
//
// grid:  ceil(n_weights / 1024)
// block: 256; each thread four values
// needs: nothing
// bytes: 4 a value
KERNEL(embedding_clear, EmbeddingArgs, 256, 1) {
    for (int k = 0; k < 4; k++) {
        const int64_t i = (int64_t)blockIdx.x * 1024 + k * 256 + thread_idx();
        if (i < args.n_weights) args.dweight.write(i, 0.f);
    }
}

// dweight[word] += the sum of dout[i] over the places i of the word, in their order. The block of
// a word's first place does it for all of them.
//
// grid:  n, ceil(hidden / 128)
// block: 128; each thread one value
// shared: 4 * (4 + 128); a number for each of 4 warps, and places of the word
// needs: nothing
// bytes: 4 read a value, and 8 read or written for each that a word has; words once a place (from
//        a cache)
KERNEL(embedding_bwd, EmbeddingArgs, 128, 1) {
    const int first = (int)blockIdx.x, k = (int)blockIdx.y * 128 + thread_idx();
    const int thread = thread_idx(), warp = warp_idx();
    const int64_t hidden = args.hidden;
    const float token = args.tokens[first];
    auto before = shared<float>(0, 4);
    float earlier = 0.f;
    for (int i = thread; i < first; i += 128)
        if (args.tokens[i] == token) earlier = 1.f;
    if (block_sum(earlier, before) > 0.f) return;
    sync_block();  // what is shared is free again

    const int64_t to = (int64_t)token * hidden + k;
    float sum = k < args.hidden ? args.dweight.read(to) : 0.f;
    auto counts = shared<int>(0, 4);
    auto places = shared<int>(4 * 4, 128);
    for (int base = first; base < args.n; base += 128) {
        const int i = base + thread;
        const bool same = i < args.n && args.tokens[i] == token;
        const uint32_t lanes = lanes_where(same);
        if (lane_idx() == 0) counts[warp] = count_bits(lanes);
        sync_block();
        int place = count_bits(lanes & ((1u << lane_idx()) - 1)), n_places = 0;
        for (int w = 0; w < 4; w++) {
            if (w < warp) place += counts[w];
            n_places += counts[w];
        }
        if (same) places[place] = i;
        sync_block();
        if (k >= args.hidden) continue;
        for (int p = 0; p < n_places; p++) sum += args.dout[places[p] * hidden + k];
    }
    if (k < args.hidden) args.dweight.write(to, sum);
}
