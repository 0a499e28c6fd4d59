// Max pooling and the neuron in one pass. A step is a block [B, C, H, W] in any order of memory;
// what is pooled is [B, C, out_height, out_width], of strides out_b, out_c, out_h and out_w. Lanes
// are neighbouring channels: where there are several, channels are last.

typedef unsigned char Place;  // in a window, row by row

#define POOL \
    Index batch, Index channels, Index height, Index width, \
    Index in_b, Index in_c, Index in_h, Index in_w, Index out_height, Index out_width, \
    Index out_b, Index out_c, Index out_h, Index out_w, Index kernel, Index stride, Index padding
#define POOL_ARGUMENTS \
    batch, channels, height, width, in_b, in_c, in_h, in_w, out_height, out_width, out_b, out_c, \
    out_h, out_w, kernel, stride, padding

// Highest values of the window of output i at every step, and where they are; of equal ones the
// first. Not a number is higher than every number.
DEVICE void pool(
    const Storage *x, Index x_step, Index i, POOL, Pack<Storage> *highest, Pack<Place> *places
) {
    const Index plane = i / out_b % batch * in_b + i / out_c % channels * in_c;
    const Index top = i / out_h % out_height * stride - padding;
    const Index left = i / out_w % out_width * stride - padding;
    bool found = false;
    for (Index row = 0; row < kernel; ++row)
        for (Index column = 0; column < kernel; ++column) {
            const Index r = top + row, c = left + column;
            if (r < 0 || r >= height || c < 0 || c >= width) continue;
            Pack<Storage> values[STEPS];
            FOR_STEPS(t) values[t] = read(x + t * x_step + plane + r * in_h + c * in_w);
            FOR_STEPS(t) FOR_LANES(l) {
                const Wide value = widen(values[t].at[l]);
                if (found && !(value > widen(highest[t].at[l]) || value != value)) continue;
                highest[t].at[l] = values[t].at[l];
                places[t].at[l] = (Place)(row * kernel + column);
            }
            found = true;
        }
}

KERNEL pool_fire_forward(
    const Storage *x, Index x_step, Storage *spikes, Index count, POOL, NEURON
) {
    const Neuron neuron = DESCRIBE_NEURON;
    FOR_EACH(k, count / TOGETHER) {
        const Index i = k * TOGETHER;
        Pack<Storage> packs[STEPS];
        Pack<Place> places[STEPS];
        pool(x, x_step, i, POOL_ARGUMENTS, packs, places);
        FOR_LANES(l) {
            Wide current[STEPS], h[STEPS];
            FOR_STEPS(t) current[t] = widen(packs[t].at[l]);
            integrate(neuron, current, h);
            FOR_STEPS(t) store(&packs[t].at[l], fires(neuron, h[t]));
        }
        FOR_STEPS(t) write(spikes + t * count + i, packs[t]);
    }
}

// Gradients of the pooled currents, and the places in their windows to which they go.
KERNEL pool_fire_gradients(
    const Storage *x, Index x_step, const Storage *grad_spikes, Index grad_step,
    Storage *grad_pooled, Place *where, Wide *grad_rates, Index count, POOL, NEURON
) {
    const Neuron neuron = DESCRIBE_NEURON;
    Wide grad_rate = 0;
    FOR_EACH(k, count / TOGETHER) {
        const Index i = k * TOGETHER;
        Pack<Storage> packs[STEPS], grads[STEPS];
        Pack<Place> places[STEPS];
        FOR_STEPS(t) grads[t] = read(grad_spikes + t * grad_step + i);
        pool(x, x_step, i, POOL_ARGUMENTS, packs, places);
        grad_rate += differentiate(neuron, packs, grads);
        FOR_STEPS(t) {
            write(grad_pooled + t * count + i, grads[t]);
            write(where + t * count + i, places[t]);
        }
    }
    if (neuron.leak == LEARNT) grad_rates[first_thread()] = grad_rate;
}

// Each input takes from the windows that have it, in their order: nothing is added atomically.
KERNEL pool_backward(
    const Storage *grad_pooled, const Place *where, Index pooled_step, Storage *grad_x,
    Index count, POOL
) {
    FOR_EACH(k, count / TOGETHER) {
        const Index j = k * TOGETHER;
        const Index plane = j / in_b % batch * out_b + j / in_c % channels * out_c;
        const Index r = j / in_h % height + padding, c = j / in_w % width + padding;
        Wide sums[STEPS][TOGETHER];
        FOR_STEPS(t) FOR_LANES(l) sums[t][l] = 0;
        for (Index row = r < kernel ? 0 : (r - kernel) / stride + 1; row <= r / stride; ++row)
            for (Index column = c < kernel ? 0 : (c - kernel) / stride + 1; column <= c / stride;
                 ++column) {
                if (row >= out_height || column >= out_width) continue;
                const Index i = plane + row * out_h + column * out_w;
                const Index place = (r - row * stride) * kernel + c - column * stride;
                FOR_STEPS(t) {
                    const Pack<Place> places = read(where + t * pooled_step + i);
                    const Pack<Storage> grads = read(grad_pooled + t * pooled_step + i);
                    FOR_LANES(l) if (places.at[l] == place) sums[t][l] += widen(grads.at[l]);
                }
            }
        FOR_STEPS(t) {
            Pack<Storage> grads;
            FOR_LANES(l) store(&grads.at[l], sums[t][l]);
            write(grad_x + t * count + j, grads);
        }
    }
}
