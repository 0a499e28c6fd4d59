// Max pooling and the neuron in one pass. A step is a block [B, C, H, W] in any order of memory;
// what is pooled is [B, C, out_height, out_width], of strides out_b, out_c, out_h and out_w.

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
    const Storage *x, Index x_step, Index i, POOL, Wide *highest, Place *places
) {
    const Index plane = i / out_b % batch * in_b + i / out_c % channels * in_c;
    const Index top = i / out_h % out_height * stride - padding;
    const Index left = i / out_w % out_width * stride - padding;
    FOR_STEPS(t) {
        bool found = false;
        highest[t] = 0;
        for (Index row = 0; row < kernel; ++row)
            for (Index column = 0; column < kernel; ++column) {
                Index r = top + row, c = left + column;
                if (r < 0 || r >= height || c < 0 || c >= width) continue;
                Wide value = widen(x[t * x_step + plane + r * in_h + c * in_w]);
                if (found && !(value > highest[t] || value != value)) continue;
                found = true;
                highest[t] = value;
                places[t] = (Place)(row * kernel + column);
            }
    }
}

KERNEL pool_fire_forward(
    const Storage *x, Index x_step, Storage *spikes, Index count, POOL, NEURON
) {
    const Neuron neuron = DESCRIBE_NEURON;
    FOR_EACH(i, count) {
        Wide current[STEPS], h[STEPS];
        Place places[STEPS];
        pool(x, x_step, i, POOL_ARGUMENTS, current, places);
        integrate(neuron, current, h);
        FOR_STEPS(t) store(spikes + t * count + i, fires(neuron, h[t]));
    }
}

// Gradients of the pooled currents, and the places in their windows to which they go.
KERNEL pool_fire_gradients(
    const Storage *x, Index x_step, const Storage *grad_spikes, Index grad_step,
    Storage *grad_pooled, Place *where, Wide *grad_rates, Index count, POOL, NEURON
) {
    const Neuron neuron = DESCRIBE_NEURON;
    Wide grad_rate = 0;
    FOR_EACH(i, count) {
        Wide current[STEPS], h[STEPS], grad[STEPS];
        Place places[STEPS];
        pool(x, x_step, i, POOL_ARGUMENTS, current, places);
        integrate(neuron, current, h);
        FOR_STEPS(t) grad[t] = widen(grad_spikes[t * grad_step + i]);
        grad_rate += differentiate(neuron, current, h, grad);
        FOR_STEPS(t) {
            store(grad_pooled + t * count + i, grad[t]);
            where[t * count + i] = places[t];
        }
    }
    if (neuron.leak == LEARNT) grad_rates[first_thread()] = grad_rate;
}

// Each input takes from the windows that have it, in their order: nothing is added atomically.
KERNEL pool_backward(
    const Storage *grad_pooled, const Place *where, Index pooled_step, Storage *grad_x,
    Index count, POOL
) {
    FOR_EACH(j, count) {
        const Index plane = j / in_b % batch * out_b + j / in_c % channels * out_c;
        const Index r = j / in_h % height + padding, c = j / in_w % width + padding;
        FOR_STEPS(t) {
            Wide sum = 0;
            for (Index row = r < kernel ? 0 : (r - kernel) / stride + 1; row <= r / stride; ++row)
                for (Index column = c < kernel ? 0 : (c - kernel) / stride + 1;
                     column <= c / stride; ++column) {
                    if (row >= out_height || column >= out_width) continue;
                    Index i = t * pooled_step + plane + row * out_h + column * out_w;
                    Index place = (r - row * stride) * kernel + c - column * stride;
                    if (where[i] == place) sum += widen(grad_pooled[i]);
                }
            store(grad_x + t * count + j, sum);
        }
    }
}
