// BatchNorm's affine map and the neuron in one pass: currents are
// weight (x - mean) invstd + bias. Channels lie `inner` elements apart: element i of a step is of
// channel (i / inner) % channels, whether channels are last (inner 1) or not. TOGETHER divides the
// number of channels, or of elements in between.

#define NORM \
    const Wide *mean, const Wide *invstd, const Wide *weight, const Wide *bias, Index channels, \
    Index inner

// Of the lanes of a thread: one channel, or neighbours.
#define LANE_CHANNEL(c, l) (inner == 1 ? (c) + (l) : (c))

KERNEL norm_fire_forward(
    const Storage *x, Index x_step, Storage *spikes, Index count, NORM, NEURON
) {
    const Neuron neuron = DESCRIBE_NEURON;
    FOR_EACH(k, count / TOGETHER) {
        const Index i = k * TOGETHER, first = i / inner % channels;
        Pack<Storage> packs[STEPS];
        FOR_STEPS(t) packs[t] = read(x + t * x_step + i);
        FOR_LANES(l) {
            const Index c = LANE_CHANNEL(first, l);
            const Wide middle = mean[c], scale = invstd[c], gain = weight[c], shift = bias[c];
            Wide current[STEPS], h[STEPS];
            FOR_STEPS(t) current[t] = gain * (widen(packs[t].at[l]) - middle) * scale + shift;
            integrate(neuron, current, h);
            FOR_STEPS(t) store(&packs[t].at[l], fires(neuron, h[t]));
        }
        FOR_STEPS(t) write(spikes + t * count + i, packs[t]);
    }
}

// For a lane, of channel c: its normalised inputs, and the gradients of its currents.
DEVICE Wide norm_fire_gradients(
    const Pack<Storage> *packs, const Pack<Storage> *grads, int lane, Index c,
    const Wide *mean, const Wide *invstd, const Wide *weight, const Wide *bias,
    const Neuron &neuron, Wide *normalised, Wide *grad
) {
    const Wide middle = mean[c], scale = invstd[c], gain = weight[c], shift = bias[c];
    Wide current[STEPS], h[STEPS];
    FOR_STEPS(t) {
        Wide centred = widen(packs[t].at[lane]) - middle;
        normalised[t] = centred * scale;
        current[t] = gain * centred * scale + shift;
        grad[t] = widen(grads[t].at[lane]);
    }
    integrate(neuron, current, h);
    return differentiate(neuron, current, h, grad);
}

// Sums over a channel, in `parts` parts: of the gradient of the currents (bias), of its product
// with the normalised input (weight), and of the gradient of the learnt rate. Neighbouring
// threads read neighbouring elements.
KERNEL norm_fire_sums(
    const Storage *x, Index x_step, const Storage *grad_spikes, Index grad_step, Wide *grad_bias,
    Wide *grad_weight, Wide *grad_rates, Index count, Index parts, NORM, NEURON
) {
    const Neuron neuron = DESCRIBE_NEURON;
    // Where channels are last, a thread has neighbouring channels, else neighbours of one
    const Index groups = inner == 1 ? channels / TOGETHER : channels;
    const Index size = count / TOGETHER / groups, between = inner == 1 ? 1 : inner / TOGETHER;
    FOR_EACH(k, groups * parts) {
        const Index group = inner == 1 ? k % groups : k / parts;
        const Index part = inner == 1 ? k / groups : k % parts;
        const Index first = inner == 1 ? group * TOGETHER : group;
        Wide of_bias[TOGETHER], of_weight[TOGETHER], of_rate[TOGETHER];
        FOR_LANES(l) of_bias[l] = of_weight[l] = of_rate[l] = 0;
        for (Index m = part; m < size; m += parts) {
            const Index i = ((m / between * groups + group) * between + m % between) * TOGETHER;
            Pack<Storage> packs[STEPS], grads[STEPS];
            FOR_STEPS(t) {
                packs[t] = read(x + t * x_step + i);
                grads[t] = read(grad_spikes + t * grad_step + i);
            }
            FOR_LANES(l) {
                Wide normalised[STEPS], grad[STEPS];
                of_rate[l] += norm_fire_gradients(
                    packs, grads, l, LANE_CHANNEL(first, l), mean, invstd, weight, bias, neuron,
                    normalised, grad);
                FOR_STEPS(t) {
                    of_bias[l] += grad[t];
                    of_weight[l] += grad[t] * normalised[t];
                }
            }
        }
        FOR_LANES(l) {
            // One sum for each channel and part
            const Index place = LANE_CHANNEL(first, l) * parts + part;
            const bool new_channel = l == 0 || inner == 1;
            grad_bias[place] = of_bias[l] + (new_channel ? Wide(0) : grad_bias[place]);
            grad_weight[place] = of_weight[l] + (new_channel ? Wide(0) : grad_weight[place]);
            grad_rates[place] = of_rate[l] + (new_channel ? Wide(0) : grad_rates[place]);
        }
    }
}

// mean_grad and mean_product are the sums above over the number of elements of a channel, or 0
// where mean and invstd are no statistics of x.
KERNEL norm_fire_backward(
    const Storage *x, Index x_step, const Storage *grad_spikes, Index grad_step, Storage *grad_x,
    const Wide *mean_grad, const Wide *mean_product, Index count, NORM, NEURON
) {
    const Neuron neuron = DESCRIBE_NEURON;
    FOR_EACH(k, count / TOGETHER) {
        const Index i = k * TOGETHER, first = i / inner % channels;
        Pack<Storage> packs[STEPS], grads[STEPS];
        FOR_STEPS(t) {
            packs[t] = read(x + t * x_step + i);
            grads[t] = read(grad_spikes + t * grad_step + i);
        }
        FOR_LANES(l) {
            const Index c = LANE_CHANNEL(first, l);
            const Wide of_grad = mean_grad[c], of_product = mean_product[c];
            const Wide gain = weight[c] * invstd[c];
            Wide normalised[STEPS], grad[STEPS];
            norm_fire_gradients(
                packs, grads, l, c, mean, invstd, weight, bias, neuron, normalised, grad);
            FOR_STEPS(t)
                store(&grads[t].at[l], gain * (grad[t] - of_grad - normalised[t] * of_product));
        }
        FOR_STEPS(t) write(grad_x + t * count + i, grads[t]);
    }
}
