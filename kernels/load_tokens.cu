// The words of a batch's windows of text, and the words that follow them.
#include "epoch.cuh"

#define END 0xffffffffu  // follows the last word of a row

struct LoadTokensArgs {
    In<uint32_t> tokens;  // of all rows
    In<uint32_t> order;   // where the windows of the epoch begin
    Out<int> counters;
    Out<float> inputs;   // [steps][rows]; 0 from the end of a row on
    Out<float> targets;  // [steps][rows]; -1 there
    int64_t n_tokens;
    int steps;
    int rows;
};

// inputs[t,b] = tokens[start[b] + t] and targets[t,b] the word after it, up to the row's end.
//
// grid:  rows
// block: 128; each thread every 128th word of the window
// shared: 4 * 128; where a thread found the end
// needs: nothing
// bytes: 4 read and 8 written a word
KERNEL(load_tokens, LoadTokensArgs, 128, 1) {
    const int row = (int)blockIdx.x, thread = thread_idx(), steps = args.steps;
    const int64_t batch = args.counters.read(BATCH_IDX);
    const int64_t start = args.order[batch * args.rows + row];
    // The first place, counted from the start, that holds no word.
    int end = (int)min((int64_t)(steps + 1), args.n_tokens - start);
    for (int i = thread; i < end; i += 128)
        if (args.tokens[start + i] == END) end = i;
    auto ends = shared<int>(0, 128);
    ends[thread] = end;
    sync_block();
    for (int i = 0; i < 128; i++) end = min(end, ends[i]);
    for (int t = thread; t < steps; t += 128) {
        const int64_t to = (int64_t)t * args.rows + row;
        const bool predicted = t + 1 < end;
        args.inputs.write(to, predicted ? (float)args.tokens[start + t] : 0.f);
        args.targets.write(to, predicted ? (float)args.tokens[start + t + 1] : -1.f);
    }
}
